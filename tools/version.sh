#!/bin/sh
# Prints major.minor.patch from version.h, where the version is kept.
awk '/#define FACPOOL_VERSION_(MAJOR|MINOR|PATCH) /{v = v (v == "" ? "" : ".") $3} END {print v}' "$1"
