# -*- encoding: utf-8 -*-
# stub: webrick 1.9.1 ru