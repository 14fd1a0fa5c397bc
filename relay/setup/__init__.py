"""From a few answers to a configuration: what `relay init` and set-up in the browser have in common, and the latter."""
