"""Every formula of uncertainty-aware RLHF, once, for NumPy and PyTorch arrays alike."""
