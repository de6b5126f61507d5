"""Sources of audio: whatever they read, they deliver 16 kHz mono float32 blocks with a sample position."""
