"""Where the accuracy of a conversion goes: by layer and by cause, and what would win it back."""
