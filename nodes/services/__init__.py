"""Services on consensus, one folder each, and what carries them: a log on every member (replica.py; by_log.py or
by_instances.py, as the engine has it), and clients that ask for operations (client.py). spec.py says what a service is.
"""
