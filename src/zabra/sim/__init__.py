"""The simulator: the shipped server code on simulated links, disks and clocks, driven by one seed."""
