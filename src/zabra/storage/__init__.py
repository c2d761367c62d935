"""Files behind one door: log, snapshots, epochs, in upstream's formats."""
