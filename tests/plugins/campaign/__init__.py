"""Kill campaigns: a target holds exactly what was committed, whatever was killed while it was.

    python -m tests.plugins.campaign --publisher all --txns 1000000 --ledger
    python -m tests.plugins.campaign --publisher redis,door --txns 20000 --apache

Three voters (ours, or Apache's with ``--apache``) and an observer of ours with every publisher that is asked
for, and as many targets, all as processes; pipelined writers; and at random moments a SIGKILL for the
observer, the feed's door, a target or the leader, or the end of the publishers wherever they are.  Afterwards
everything that the voters have logged is compared with what each target holds.  Needs no quiet machine:
nothing is timed.
"""
