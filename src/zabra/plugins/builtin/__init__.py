"""The publishers that come with Zabra."""
