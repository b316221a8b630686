//! Files that come with a message: fetched, checked, and turned into what a model can read.
