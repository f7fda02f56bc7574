"""The objects that PaDRe stores: one module for each kind, and what they share."""
