"""Bad inputs: files that are broken, hostile or not what a command expects, and the commands that meet them."""
