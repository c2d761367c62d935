"""Who a connection is, and what an ACL lets it do: authentication providers and the ACL check."""
