//! Runs' ends, told to clients' own servers.
