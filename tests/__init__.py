"""Makes the tests a package, so that they can import the services of `tests.infra` by name."""
