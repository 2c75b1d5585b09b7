"""What sets the product up around its packages: the environment, a broker, a database."""
