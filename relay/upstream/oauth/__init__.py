"""OAuth 2.0: consents, access tokens, and where they are kept."""
