//! The page of two thousand photographs.
