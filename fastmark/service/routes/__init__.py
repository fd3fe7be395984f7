"""What the service answers, by what is asked."""
