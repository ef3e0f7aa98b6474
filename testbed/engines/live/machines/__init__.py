"""A fabric over several machines: each runs its part, cut links are carried by VXLAN, one run directory comes back."""
