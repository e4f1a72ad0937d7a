"""What the logs say: masking, mining, and log streams as a source of pattern counts. Reads no source by itself."""
