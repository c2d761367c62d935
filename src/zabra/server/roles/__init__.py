"""What a server does in each state; a role is thrown away, not reset, when the state changes."""
