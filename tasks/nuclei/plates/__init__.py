"""Plates: a folder with plate.json, images/ and labels/, and the reading and writing of its files.

    my-plate/
      plate.json     PlateInfo
      images/        x.tif, y.png, ...   TIFF, OME-TIFF or PNG, one channel, 8 or 16 bit
      labels/        x.tif, y.tif, ...   label images of the same names, integer, 0 = background

An image and its labels belong together when their names are equal up to the extension. Which files are images is in
`file_kinds`, what their names say in `microscope_patterns` and, of other names, in `name_parts`; what makes a field is
a `place`. Of several channels, planes, times and acquisitions plate.json chooses one (`choosing`). A plate may arrive
in other layouts (`layouts`), among them one images.ome.zarr in place of the two folders, see `hcs_plates`. `arrival` is
what is looked at before a plate is imported, `recognition` what a folder holds that has no plate.json yet.
"""
