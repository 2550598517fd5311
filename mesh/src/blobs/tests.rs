//! Real nodes on loopback that fetch blobs from each other.
