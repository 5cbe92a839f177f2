//! Verified VM images from every source at once, straight into Lima's cache.
