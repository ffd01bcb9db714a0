"""Compiled inner loops: arrays in, arrays out. No classes, no validation, nothing imported from the rooms above."""
