"""Types that kernels are compiled for: made by ``benchmarks/compiling.py --write``."""

# fmt: off
FIRST = """
0.9 chips.forward_dct f4[2C] f4[2C] i8[1C] i8[1C] i8 i8 f4[3C]
0.4 chips.fold_chips f4[3C] f4[2C] i8 i8 f4[3C]
0.4 chips.code_signs i1[3C] i2[3C] f4[1C] f4[3C]
0.5 chips.draw_pilot f4[2C] i8 i8 f4 f4[2C] i8 i8 f4[2C]
0.7 chips.chip_amplitudes f4[2C] f4 i1[3C] i2[3C] f4[1C] i1[3C] f4 i1[3C] f4 f4[2C] i8 i8 f4[3C]
1.3 chips.add_inverse_dct f4[3C] f4[2C] i8[1C] i8[1C] i8 i8 f4[2C]
0.3 chips.sum_known f4[3C] i1[3C] i2[3C] f4[1C] i8 i8
0.4 chips.sum_anchors f4[3C] i1[3C] i8[2C] f8[1C]
0.2 chips.whole_blocks u1[2C] i8 f4[2C]
0.2 chips.soft_bits f4[3C] i1[3C] i2[3C] f8[2C]
"""

FURTHER = """
0.8 resample.warp_plane f4[2C] f4[2C] f8[2C] f8[1C] f4[3C] f8 f4[2C] u1[2C]
0.9 location.believe f4[2C] f4 i8 f4[3C] f4[2C]
0.3 location.number_parts b1[2C] i8[1C] i4[2C]
"""
