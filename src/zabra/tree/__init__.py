"""The data tree: znodes, ACLs, ephemerals, watches, quotas, digests; it applies txns and answers reads."""
