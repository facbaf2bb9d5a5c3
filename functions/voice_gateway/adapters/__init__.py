"""What implements the ports: the table, the codecs."""
