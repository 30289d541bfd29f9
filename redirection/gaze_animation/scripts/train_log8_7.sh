#!/bin/sh
# Trains GazeAnimation as its README says: run log8_7, boxes of 50 x 30. More arguments are passed on (--data_dir=...).
cd "$(dirname "$0")/../../.." || exit
exec "${PYTHON:-python}" redirection/gaze_animation/train.py --use_sp --exper_name=log8_7 --crop_w=50 --crop_h=30 "$@"
