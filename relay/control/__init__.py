"""One API for the page, the command line and monitors."""
