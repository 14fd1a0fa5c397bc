"""Moving over from another relay: its files in, our configuration out."""
