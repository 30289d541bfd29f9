#!/bin/sh
# Tests that run with the same boxes. More arguments are passed on (--data_dir=...).
cd "$(dirname "$0")/../../.." || exit
exec "${PYTHON:-python}" redirection/gaze_animation/test.py --exper_name=log8_7 --crop_h=30 --crop_w=50 \
    --test_sample_dir=test_sample_dir --checkpoints=checkpoints "$@"
