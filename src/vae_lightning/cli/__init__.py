"""What all commands share: their configuration, checks, errors, tables and progress bars."""
