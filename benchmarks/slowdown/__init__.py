"""What monitoring costs the monitored program."""
