"""The embedded worlds: procedural heads with known gaze, rendered by ray casting from EG3D cameras."""
