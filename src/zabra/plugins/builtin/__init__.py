"""Publishers that come with the package."""
