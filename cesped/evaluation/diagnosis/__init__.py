"""What may be wrong with a set of particles and poses, found out from the images themselves."""
