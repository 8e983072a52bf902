"""What a cluster is made and run with: keys, certificates, agents, checkpoints, beacons."""
