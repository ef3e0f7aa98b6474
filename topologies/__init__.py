"""The map: data-centre fabrics as Mininet Topo classes, impairments per link direction, forwarding. No I/O."""
