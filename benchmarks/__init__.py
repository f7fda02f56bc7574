"""PaDRe beside other trackers and the bare machine: the same work, the same disk, one run."""
