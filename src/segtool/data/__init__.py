"""Data sets as numpy arrays: reading, checking, describing, splitting and making them.

===================================================  ==================================================================
to change                                            look in
===================================================  ==================================================================
which folders and files are images and masks         `layout`, `pairing`, `listing`; messages in `listing_faults`
a fault of files: size, pages, alpha, JPEG           `headers` (reading), `header_faults`, `file_faults`
what the values of masks mean                        `folder` (the order of the sources), `metadata` and `description`
                                                     (dataset.json), `class_lists` and `class_list_formats` (files of
                                                     other tools), `mask_values` and `inferred_classes` (the values)
how a mask becomes class ids                         `mask_files`, and `Encoding` in `classes`
data in .npy and .npz files                          `array_files`, `arrays`, `array_loading`, `array_dataset`
outlines of LabelMe, COCO and YOLO                   `outline_readers`, `convert`
the generator, and writing data                      `generator`, `make`
what every data set offers; parts for training       `base`, `split`
`data check`, `data info`, `data describe`           `check` and `check_sources`, `info`, `describe`
===================================================  ==================================================================

`loading.load_dataset` is where all of it begins.
"""
