"""Publishers and other extensions."""
