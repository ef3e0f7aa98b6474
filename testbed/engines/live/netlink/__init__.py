"""Fabrics over rtnetlink: what they ask for (``requests``), on sockets that batch it (``rtnl``), as bytes (``codec``).

Requests are plain values made by functions (``veth``, ``bridge``, ``netem_add``...); an ``Rtnl`` is a socket in one
network namespace that carries many of them in one system call. Importing a general library costs more than bringing a
small fabric up; hence no pyroute2 in here.
"""
