# Everything that Forewarn needs on a fresh machine: `make demo` and `make test`.
