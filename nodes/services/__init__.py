"""Services on consensus, one folder each, and what carries them: a log of consensus instances on every member
(replica.py), and clients that ask for operations (client.py). spec.py says what a service is.
"""
