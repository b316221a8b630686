//! The Model Context Protocol, both ways: tools of remote servers for runs, and the tools and agents of a tenant for clients.
