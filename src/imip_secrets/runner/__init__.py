"""What GitHub's runner gives a job and takes from it: inputs, ID token, masks, files, summary."""
