"""Decoys: inputs that differ in small patches but leave a layer unchanged (arXiv 2002.00526)."""
