"""Sessions: their ids and passwords, and who expires when.  Pure; time is an argument (ms, monotonic)."""
