"""What there is: values, history, who has what, and why."""
