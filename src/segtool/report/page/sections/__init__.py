"""The sections of the page, one a file: functions from what is known to markup, empty where there is nothing to say."""
